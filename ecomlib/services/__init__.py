"""The shop's services. Each is handed a bus; none knows which engine that is, nor who else listens."""
