"""PMBus number formats and checksum, as power supplies use them: bytes in, plain floats out."""

from __future__ import annotations


def signed(value: int, bits: int) -> int:
    """Return an unsigned integer of so many bits as two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def linear11(data: bytes) -> float:
    """Return a LINEAR11 value: 11 bits of mantissa, 5 of exponent, least byte first.

    >>> linear11(bytes.fromhex("4608")), linear11(bytes.fromhex("ffd2"))
    (140.0, 11.984375)

    Raises:
        ValueError: There are not two bytes.
    """
    if len(data) < 2:
        raise ValueError(f"a LINEAR11 value has two bytes, got {data.hex() or 'none'}")
    raw = int.from_bytes(data[:2], "little")
    return float(signed(raw & 0x7FF, 11)) * 2.0 ** signed(raw >> 11, 5)


def ulinear16(data: bytes, vout_mode: int) -> float:
    """Return a ULINEAR16 value: an unsigned mantissa, scaled by VOUT_MODE's exponent.

    >>> ulinear16(bytes.fromhex("9d01"), 0x19)
    3.2265625

    Raises:
        ValueError: There are not two bytes, or VOUT_MODE says another format.
    """
    if len(data) < 2:
        raise ValueError(f"a ULINEAR16 value has two bytes, got {data.hex() or 'none'}")
    if vout_mode >> 5:
        raise ValueError(f"VOUT_MODE {vout_mode:#04x} is not ULINEAR16")
    return float(int.from_bytes(data[:2], "little")) * 2.0 ** signed(vout_mode & 0x1F, 5)


def crc8(data: bytes) -> int:
    """Return the SMBus packet error code of some bytes: CRC-8, polynomial 0x07, start 0.

    >>> hex(crc8(b"123456789"))
    '0xf4'
    """
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x107 if crc & 0x80 else crc << 1
    return crc
