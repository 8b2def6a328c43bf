"""Images, files or arrays, become patch and image embeddings; nothing here knows of Qdrant."""
