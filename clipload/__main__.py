"""`python -m clipload`."""

from clipload.cli import main

main()
