"""What the webhook server is made of, one idea a module. `webhook.py` and `live.py` put it together."""
