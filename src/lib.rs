//! Stops Testinium test plans from Kubernetes.
