"""Classes of all code points above the table against Python's Unicode data."""

from __future__ import annotations

import unicodedata

from signals_oracle import is_han

from pretrain_data.kernels import textscan


def test_every_code_point_above_the_table_has_the_class_of_its_category() -> None:
    table = textscan.char_table()
    classes = {"Mn": textscan.MARK, "Cf": textscan.CONTROL, "Cc": textscan.CONTROL, "Co": textscan.PRIVATE}
    wrong = []
    for code in range(textscan.TABLE_SIZE, textscan.CODE_POINTS):
        character = chr(code)
        expected = classes.get(unicodedata.category(character), textscan.OTHER)
        if is_han(character):
            expected = textscan.HAN
        if textscan.class_of(code, table) & textscan.CLASS_MASK != expected:
            wrong.append(hex(code))
    assert wrong == []
