"""Tokens of the language model: one for each symbol of a lookup table, and a few special ones.

    0 ... n_symbols - 1     symbols, the most frequent first, as ``LookupTable.codes`` counts them
    then                    separator, <PAD>, <EOS>, <LABEL>, and <C0> <C1> ... one for each class

so that the tokens of a text follow from codes without a string being made. A sample is written in
two ways, read (1) and written (2) by the same model:

    text <LABEL> <Ck> <EOS>      what class is this?                                      (1)
    <Ck> text <EOS>              what does this class look like?                          (2)

Janakarajan et al. (2025), IEEE ICDH (eq. 1).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int

from synthome.encoding.lookup_table import LookupTable
from synthome.errors import InputError

SPECIAL = ("<PAD>", "<EOS>", "<LABEL>")


@dataclass(frozen=True)
class Vocabulary:
    """Numbers of tokens, for texts of ``n_vars`` genes in patches of ``patch_size``."""

    n_symbols: int
    n_vars: int
    patch_size: int
    n_classes: int

    @classmethod
    def of(cls, table: LookupTable, n_classes: int) -> Self:
        """The tokens that texts of ``table`` and their labels need."""
        return cls(len(table.alphabet), table.n_vars, table.config.patch_size, n_classes)

    @property
    def separator(self) -> int:
        """Between patches."""
        return self.n_symbols

    @property
    def pad(self) -> int:
        """Fills up a shorter text; texts of one table are equally long, so that none is here."""
        return self.n_symbols + 1

    @property
    def eos(self) -> int:
        """The end."""
        return self.n_symbols + 2

    @property
    def label(self) -> int:
        """Asks for the class."""
        return self.n_symbols + 3

    @property
    def first_class(self) -> int:
        """<C0>; the others follow."""
        return self.n_symbols + 4

    @property
    def classes(self) -> slice:
        """Tokens of the classes."""
        return slice(self.first_class, self.first_class + self.n_classes)

    def __len__(self) -> int:
        return self.first_class + self.n_classes

    @property
    def text_length(self) -> int:
        """Tokens of a text, separators included."""
        return self.n_vars + (self.n_vars - 1) // self.patch_size

    @property
    def n_positions(self) -> int:
        """Tokens of a whole sample in either form: text, and three of eq. 1."""
        return self.text_length + 3

    @property
    def letters(self) -> Int[np.ndarray, " n_vars"]:
        """Places of the symbols in a text."""
        gene = np.arange(self.n_vars)
        return gene + gene // self.patch_size

    def tokens(self, codes: Int[np.ndarray, "n_obs n_vars"]) -> Int[np.ndarray, "n_obs length"]:
        """Texts as tokens."""
        result = np.full((len(codes), self.text_length), self.separator, dtype=np.int64)
        result[:, self.letters] = codes
        return result

    def codes(self, tokens: Int[np.ndarray, "n_obs length"]) -> Int[np.ndarray, "n_obs n_vars"]:
        """The inverse of ``tokens``.

        Raises
        ------
        InputError
            If a token stands where it cannot: a text that no table wrote.
        """
        if tokens.shape[1:] != (self.text_length,):
            raise InputError(
                f"A text of {self.n_vars:,} genes has {self.text_length:,} tokens, but these have "
                f"{tokens.shape[-1]:,}. They were made with another table."
            )
        is_symbol = np.zeros(self.text_length, dtype=bool)
        is_symbol[self.letters] = True
        wrong = np.where(
            is_symbol, (tokens < 0) | (tokens >= self.n_symbols), tokens != self.separator
        )
        if wrong.any():
            row, place = (int(at[0]) for at in np.nonzero(wrong))
            wanted = "a symbol" if is_symbol[place] else "the separator"
            raise InputError(
                f"Token {int(tokens[row, place])} stands at place {place} of text {row}, where "
                f"{wanted} must be."
            )
        return tokens[:, self.letters]

    def strings(self, table: LookupTable) -> list[str]:
        """Each token as a tokenizer of text would see it, in the order of their numbers."""
        classes = [f"<C{k}>" for k in range(self.n_classes)]
        return [*table.alphabet, table.config.separator, *SPECIAL, *classes]
