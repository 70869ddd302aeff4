"""The dashboard's process: `python -m agentspan.dashboard`."""

from agentspan.dashboard.serve import main

if __name__ == "__main__":
    main()
