"""The wiring of the light sensor, and the script that draws it."""
