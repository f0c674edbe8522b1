"""Powers of one base to many exponents, from a table."""

from typing import final

from gmpy2 import mpz

from dpe_jax.errors import InputError

TEETH = 8
"""One bit of each tooth makes a column, which is then a byte of the exponent's transpose."""

TABLES = 8


@final
class Comb:
    """base^e mod m for 0 ≤ e < 2^bits.

    Lim and Lee, "More flexible exponentiation with precomputation", CRYPTO 1994. The exponent is
    cut into 8 teeth of w bits each; column j holds bit j of every tooth. Table v holds
    (Π_t base^(bit_t · 2^(tw)))^(2^(vs)) for each of the 256 columns, so with `tables` tables and
    s = w / tables steps

        base^e = Π_k (Π_v table_v[column_(vs + k)])^(2^k),

    which takes w products and s − 1 squarings. The time of a power depends on the exponent.
    """

    def __init__(self, base: int, modulus: int, bits: int, tables: int = TABLES) -> None:
        self._modulus = mpz(modulus)
        self._steps = max(1, -(-bits // (TEETH * tables)))
        self._width = self._steps * tables
        self._ones = int.from_bytes(b"\1" * self._width, "big")
        self._tables = [self._table(teeth) for teeth in self._teeth(mpz(base), tables)]

    @property
    def bits(self) -> int:
        """Exponents are below 2^bits."""
        return TEETH * self._width

    def power(self, exponent: int) -> mpz:
        """base^exponent mod m; InputError beyond `bits` (the exponent is not shown)."""
        if not 0 <= exponent < 1 << self.bits:
            shown = f"a number of {exponent.bit_length()} bits"
            raise InputError("exponent", shown, f"0 to 2^{self.bits} - 1")
        columns = self._columns(exponent)
        modulus = self._modulus
        product = mpz(1)
        for step in range(self._steps):
            if step:
                product = product * product % modulus
            for column, table in zip(columns[step :: self._steps], self._tables, strict=True):
                product = product * table[column] % modulus
        return product

    def _columns(self, exponent: int) -> bytes:
        """The columns, the highest first: the bits of each tooth spread to bytes, and stacked."""
        digits = format(exponent, f"0{self.bits}b").encode()
        stacked = 0
        for start in range(0, self.bits, self._width):
            tooth = int.from_bytes(digits[start : start + self._width], "big") & self._ones
            stacked = stacked << 1 | tooth
        return stacked.to_bytes(self._width, "big")

    def _teeth(self, base: mpz, tables: int) -> list[list[mpz]]:
        """base^(2^(tw + vs)) for the teeth t of each table v, the highest table first."""
        squared = [base % self._modulus]
        for _ in range((TEETH - 1) * self._width + (tables - 1) * self._steps):
            squared.append(squared[-1] * squared[-1] % self._modulus)
        starts = range((tables - 1) * self._steps, -1, -self._steps)
        return [squared[start :: self._width][:TEETH] for start in starts]

    def _table(self, teeth: list[mpz]) -> list[mpz]:
        """The product of every subset of the teeth, at the index whose bits name them."""
        products = [mpz(1)]
        for tooth in teeth:
            products += [product * tooth % self._modulus for product in products]
        return products
