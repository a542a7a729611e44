"""The bench: each figure side by side with its peers, judged by the embedded WebUI's own clock."""
