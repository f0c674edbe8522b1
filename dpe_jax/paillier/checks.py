"""What all backends refuse, and how a modulus is announced."""

import gmpy2

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import largest_plaintext
from dpe_jax.paillier.primes import LARGEST_KEY_BITS, SMALLEST_INSECURE_KEY_BITS


def check_ciphertext(ciphertext: int, n: int) -> None:
    """Refuse what is not a Python integer from 1 to n² − 1."""
    if type(ciphertext) is not int or not 0 < ciphertext < n * n:
        raise InputError("ciphertext", ciphertext, "an integer from 1 to n^2 - 1")


def not_coprime(ciphertext: int) -> InputError:
    """The error for a number that has no inverse mod n²."""
    return InputError("ciphertext", ciphertext, "a number that is coprime to n")


def check_factor(factor: int) -> None:
    """Refuse what is not a positive Python integer."""
    if type(factor) is not int or factor < 1:
        raise InputError("factor", factor, "a positive integer")


def signed(residue: int, n: int) -> int:
    """The signed plaintext of a residue mod n; InputError in the middle third (an overflow)."""
    plaintext = residue - n if 2 * residue > n else residue
    if abs(plaintext) > largest_plaintext(n):
        accepted = "plaintexts that add up to at most n // 3 - 1 in magnitude (it overflowed)"
        raise InputError("decrypted sum", f"a number of {plaintext.bit_length()} bits", accepted)
    return plaintext


def modulus_bytes(n: int) -> bytes:
    """The length of n in bits, in two bytes, and n; big-endian."""
    bits = n.bit_length()
    return bits.to_bytes(2, "big") + n.to_bytes((bits + 7) // 8, "big")


def read_modulus(announcement: bytes) -> tuple[int, bytes]:
    """n and what follows it; InputError for what `modulus_bytes` of no key begins with."""
    bits = int.from_bytes(announcement[:2], "big")
    end = 2 + (bits + 7) // 8
    n = int.from_bytes(announcement[2:end], "big")
    if (
        bits % 2
        or not SMALLEST_INSECURE_KEY_BITS <= bits <= LARGEST_KEY_BITS
        or len(announcement) < end
        or n.bit_length() != bits
        or n % 2 == 0
    ):
        accepted = "a length in bits and an odd modulus n of just that length"
        raise InputError("announcement", announcement, accepted)
    return n, announcement[end:]


def jacobi_symbol(ciphertext: int, n: int) -> int:
    """(c | n), which anybody can compute: 1 or −1, and 0 for a number that is not coprime to n."""
    return int(gmpy2.jacobi(ciphertext, n))
