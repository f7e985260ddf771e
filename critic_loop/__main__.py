"""`python -m critic_loop`: the same as the command `critic-loop`."""

from critic_loop.cli import main

if __name__ == "__main__":
    main()
