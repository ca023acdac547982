"""Chat completions over HTTP: asked, answered, streamed, and kept where somebody wants them kept."""
