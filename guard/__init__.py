"""Wakeguard: a privacy gate between an Amazon Echo and its cloud."""

__version__ = "0.1.0"
