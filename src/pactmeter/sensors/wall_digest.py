"""The password of a Shelly: HTTP digest authentication with SHA-256, after RFC 7616."""

from __future__ import annotations

import hashlib
import re
import secrets


class Digest:
    """Answers a meter's challenges; the password itself is never sent."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._challenge: dict[str, str] | None = None
        self._count = 0

    def learn(self, challenge: str) -> bool:
        """Take in a ``WWW-Authenticate`` header; return whether it can be answered."""
        found = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', challenge)
        told = {key.lower(): quoted or bare for key, quoted, bare in found}
        is_known = (
            challenge.lstrip().lower().startswith("digest")
            and told.get("algorithm", "").upper() == "SHA-256"
            and "auth" in re.split(r"[\s,]+", told.get("qop", ""))
            and "realm" in told
            and "nonce" in told
        )
        self._challenge, self._count = (told if is_known else None), 0
        return is_known

    def answer(self, path: str) -> str | None:
        """Return the ``Authorization`` header of a GET; None before the first challenge."""
        if self._challenge is None:
            return None
        self._count += 1
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        count, own_nonce = f"{self._count:08x}", secrets.token_hex(8)
        who = _hash(f"{self._user}:{realm}:{self._password}")
        proof = _hash(f"{who}:{nonce}:{count}:{own_nonce}:auth:{_hash(f'GET:{path}')}")
        fields = {
            "username": f'"{self._user}"',
            "realm": f'"{realm}"',
            "nonce": f'"{nonce}"',
            "uri": f'"{path}"',
            "algorithm": "SHA-256",
            "qop": "auth",
            "nc": count,
            "cnonce": f'"{own_nonce}"',
            "response": f'"{proof}"',
        }
        if "opaque" in self._challenge:
            fields["opaque"] = f'"{self._challenge["opaque"]}"'
        return "Digest " + ", ".join(f"{key}={value}" for key, value in fields.items())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
