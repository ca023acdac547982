"""Deployments, at the addresses of Azure's management API, and who answers under which name."""
