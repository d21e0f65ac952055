"""Two hosts in network namespaces with the interop runner's simulated network between them."""
