"""`python -m headroom`."""

from headroom.command import main

main()
