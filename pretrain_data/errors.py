"""Errors that a person can act on; the command line prints them without a traceback."""


class PretrainDataError(Exception):
    """Something the user can mend; the message says what is wrong and what to do."""


class ConfigError(PretrainDataError):
    """The configuration can't be used."""


class InputError(PretrainDataError):
    """An input is missing or isn't what it claims to be."""


class AccountingError(PretrainDataError):
    """Documents in are not documents kept plus documents dropped: a defect, never to be ignored."""


class Busy(PretrainDataError):
    """Another run holds the workspace."""
