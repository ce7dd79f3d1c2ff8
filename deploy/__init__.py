"""How the network is put on machines: files for Kubernetes and Compose, and what renders and checks the former."""
