"""Everything that a tutorial needs: `from sae_nb.all import *`"""

from sae_nb import *  # noqa: F403
