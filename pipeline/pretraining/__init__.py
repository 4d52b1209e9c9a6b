"""From shards to a pretrained encoder under ZeRO-3."""
