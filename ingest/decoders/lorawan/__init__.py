"""LoRaWAN: envelopes of network servers, and codecs of the frames inside."""
