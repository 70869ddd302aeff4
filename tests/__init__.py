"""The tests of agentspan, a folder for each room."""
