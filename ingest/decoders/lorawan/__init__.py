"""LoRaWAN: decoders for the envelopes of network servers, and codecs for the frames inside."""
