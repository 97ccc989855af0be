"""Hub models, one file each, loaded by transformers (pip install -e '.[hub]') and only when settings choose them."""
