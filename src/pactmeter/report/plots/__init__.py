"""Pictures of runs, comparisons and models for papers; a module for each kind, found by its name.

Figures come from the analysis; here they are drawn, thinned where there are more than a picture
shows, and nothing else.
"""

KINDS = {
    "power": "the power of every source over time",
    "stack": "the measured parts stacked under the whole, with what none of them covers",
    "identity": "sources against one another, with the line on which they would be equal",
    "bland-altman": "differences of two sources over their mean, with limits of agreement",
    "regions": "the energy of each region with its interval",
    "counters": "the rate of each event over time",
    "validation": "sources against a reference meter, and what their lines leave",
    "residuals": "what a power model leaves: MODEL.json alone, or with runs",
}
