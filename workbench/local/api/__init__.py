"""The service's HTTP side: what may be asked, what is answered, and how it says no."""
