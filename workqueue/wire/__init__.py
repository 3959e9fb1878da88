"""Between a client and a broker: what the network does to them."""
