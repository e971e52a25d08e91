"""How well codes stand for factors of variation, as functions of arrays: no model, no images.

`codes` are numbers (N, K), one row for each of N images, and `factors` the true values (N, F) as
whole numbers; numpy arrays or tensors. A factor without order has several columns in the code of a
model; join them to one by `Layout.scalars` before they come here, or each column counts as a code
of its own.

    mig                      mutual information gap                      higher is better, at most 1
    dci                      disentanglement, completeness, informativeness
    sap                      separated attribute predictability
    factor_vae_score         how sure a factor that does not move can be told
    mean_absolute_error, l2  distance from the true labels               lower is better
    leak_matrix              what else moves when one code is moved
    retrieval                how often the nearest of many images is the right one

The first four do not mind in which order the codes stand, nor their signs; errors and leaks do.
"""

from zoo.metrics.disentanglement.arrays import labels as labels
from zoo.metrics.disentanglement.errors import l2 as l2
from zoo.metrics.disentanglement.errors import leak_matrix as leak_matrix
from zoo.metrics.disentanglement.errors import mean_absolute_error as mean_absolute_error
from zoo.metrics.disentanglement.errors import retrieval as retrieval
from zoo.metrics.disentanglement.errors import spread as spread
from zoo.metrics.disentanglement.importance import Dci as Dci
from zoo.metrics.disentanglement.importance import dci as dci
from zoo.metrics.disentanglement.importance import dci_of_importance as dci_of_importance
from zoo.metrics.disentanglement.information import mig as mig
from zoo.metrics.disentanglement.information import mutual_information as mutual_information
from zoo.metrics.disentanglement.linear import sap as sap
from zoo.metrics.disentanglement.votes import factor_vae_score as factor_vae_score
