import chainer
import numpy as np
import pytest

from chainer_ssd import NaNPolicy


def optimizer_of(policy, **kwargs):
    model = chainer.Chain()
    with model.init_scope():
        model.a, model.b = chainer.Parameter(np.ones(3, 'f')), chainer.Parameter(np.ones(2, 'f'))
    optimizer = chainer.optimizers.Adam(weight_decay_rate=0.1).setup(model)
    optimizer.add_hook(policy)
    return optimizer


def update(optimizer, a=1.0, b=1.0):
    optimizer.target.a.grad = np.full(3, a, 'f')
    optimizer.target.b.grad = np.full(2, b, 'f')
    optimizer.update()
    return optimizer.target.a.array.tolist(), optimizer.target.b.array.tolist()


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_raise_names_iteration_and_parameter(bad):
    optimizer = optimizer_of(NaNPolicy())
    update(optimizer)
    with pytest.raises(FloatingPointError, match='iteration 2: the gradient of /b .*NaN or inf'):
        update(optimizer, b=bad)


def test_a_skipped_update_changes_nothing():
    policy = NaNPolicy('skip')
    optimizer, other = optimizer_of(policy), optimizer_of(NaNPolicy())
    optimizer.target.b.update_rule.enabled = other.target.b.update_rule.enabled = False  # frozen
    before = update(optimizer)
    assert update(optimizer, a=np.nan) == before
    assert update(optimizer, a=np.inf) == before
    update(other)
    assert update(optimizer, a=3.0) == update(other, a=3.0)
    assert policy.n_skipped == 2
    assert optimizer.target.a.update_rule.t == 2
    assert not optimizer.target.b.update_rule.enabled


class Normalized(chainer.Chain):
    """A model with persistent values: running statistics, and a counter."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = chainer.links.Linear(3, 4)
            self.norm = chainer.links.BatchNormalization(4)
        self.n_image = 0
        self.register_persistent('n_image')

    def forward(self, x):
        self.n_image += len(x)
        return chainer.functions.sum(self.norm(self.linear(x)) ** 3)


def normalized_optimizer(policy):
    np.random.seed(0)
    optimizer = chainer.optimizers.Adam().setup(Normalized())
    optimizer.add_hook(policy)
    return optimizer


def state_of(optimizer):
    state = {}
    chainer.serializers.DictionarySerializer(state).save(optimizer.target)
    return {name: np.array(value) for name, value in state.items()}


def test_a_skipped_update_restores_the_running_statistics():
    optimizer, other = (normalized_optimizer(NaNPolicy('skip')) for _ in range(2))
    good = np.random.default_rng(0).normal(size=(5, 8, 3)).astype('f')
    for i, x in enumerate(good):
        optimizer.update(optimizer.target, x)
        other.update(other.target, x)
        if i:
            before = state_of(optimizer)
            bad = x.copy()
            bad[i, 0] = np.nan if i % 2 else np.inf
            with np.errstate(all='ignore'):
                optimizer.update(optimizer.target, bad)
            for name, value in state_of(optimizer).items():
                np.testing.assert_array_equal(value, before[name], name)
    for name, value in state_of(optimizer).items():
        np.testing.assert_array_equal(value, state_of(other)[name], name)
    assert optimizer.target.n_image == 40


@pytest.mark.parametrize('spoil', ['linear/W', 'norm/avg_mean'])
def test_a_model_that_is_nan_already_is_an_error(spoil):
    optimizer = normalized_optimizer(NaNPolicy('skip'))
    x = np.ones((4, 3), 'f')
    link, name = spoil.split('/')
    array = getattr(optimizer.target[link], name)
    getattr(array, 'array', array)[...] = np.nan
    bad = np.full_like(x, np.nan)
    with pytest.raises(FloatingPointError, match=f'iteration 1: /{spoil} of the model holds NaN'):
        with np.errstate(all='ignore'):
            optimizer.update(optimizer.target, bad)


def test_a_first_batch_that_spoils_the_statistics_is_an_error():
    # No update came before, so there is nothing to restore.
    optimizer = normalized_optimizer(NaNPolicy('skip'))
    with pytest.raises(FloatingPointError, match='/norm/avg_(mean|var) of the model holds NaN'):
        optimizer.update(optimizer.target, np.full((4, 3), np.nan, 'f'))


def test_skipped_updates_are_reported():
    optimizer, reporter = optimizer_of(NaNPolicy('skip')), chainer.Reporter()
    reporter.add_observer('main', optimizer.target)
    for a, skipped in ((1.0, 0), (np.nan, 1), (1.0, 0)):
        with reporter:
            reporter.observation = {}
            update(optimizer, a)
        assert reporter.observation == {'main/skipped': skipped}


def test_huge_gradients_are_finite():
    optimizer = optimizer_of(NaNPolicy())
    for param in optimizer.target.params():
        param.grad = np.full_like(param.array, 3e38)
    optimizer.check_nan_in_grads()
    NaNPolicy()(optimizer)


def test_updates_of_dynamic_loss_scaling_are_left_to_it():
    optimizer = optimizer_of(NaNPolicy())
    optimizer.loss_scaling()
    with pytest.warns(UserWarning, match='Non finite'):
        update(optimizer, a=np.inf)


def test_a_wrong_policy_is_named():
    with pytest.raises(ValueError, match=r"policy = 'ignore': expected one of \('raise', 'skip'\)"):
        NaNPolicy('ignore')
