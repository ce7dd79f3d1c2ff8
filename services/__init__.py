"""The services of the network. They never import each other; `services.local` alone starts all three."""
