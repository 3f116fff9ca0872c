"""Run the commands as `python -m argus_cli`; processes that these start do not run this file again."""

from .main import main

if __name__ == "__main__":
    main()
