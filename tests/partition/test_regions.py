import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.partition.regions import find_regions


def regions_of(edges, accepted, nodes=0):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edges)
    return [(region.kind, region.members) for region in find_regions(graph, accepted)]


def test_everything_accepted_and_connected_is_one_region():
    assert regions_of([(0, 1), (1, 2), (0, 2)], {0, 1, 2}) == [("npu", (0, 1, 2))]


def test_nodes_that_do_not_hang_together_are_regions_of_their_own():
    assert regions_of([(0, 1), (2, 3)], {0, 1, 2, 3}) == [("npu", (0, 1)), ("npu", (2, 3))]


def test_a_refused_node_between_accepted_ones_cuts_the_region():
    # 0 -> 1 -> 2 with a bypass 0 -> 2: {0, 2} would not be convex
    assert regions_of([(0, 1), (1, 2), (0, 2)], {0, 2}) == [("npu", (0,)), ("host", (1,)), ("npu", (2,))]


def test_two_regions_that_would_need_each_other_are_cut():
    # 0 -> host 2 -> 4 and 1 -> host 3 -> 5; {0, 5} and {1, 4} are convex, but each would wait for the other
    assert_sound([(0, 2), (2, 4), (1, 3), (3, 5), (0, 5), (1, 4)], {0, 1, 4, 5}, 6)


def test_what_is_needed_late_is_computed_late():
    # 0 feeds only 3, which waits for the host's 2: 0 and 3 become one region
    assert regions_of([(0, 3), (1, 2), (2, 3)], {0, 1, 3}) == [("npu", (1,)), ("host", (2,)), ("npu", (0, 3))]


def test_early_host_work_joins_later_host_work():
    # 0 (host) feeds only 3 (host), which also waits for 2 (npu)
    assert regions_of([(0, 3), (1, 2), (2, 3)], {1, 2}) == [("npu", (1, 2)), ("host", (0, 3))]


@st.composite
def cut_graphs(draw):
    size = draw(st.integers(2, 14))
    edges = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30))
    return [(low, high) for low, high in edges if low < high], draw(st.sets(st.integers(0, size - 1))), size


@settings(max_examples=300, deadline=None, derandomize=True)
@given(cut_graphs())
def test_regions_always_run_in_order_and_are_convex(drawn):
    assert_sound(*drawn)


def assert_sound(edges, accepted, size):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(edges)
    regions = find_regions(graph, accepted)
    assert sorted(node for region in regions for node in region.members) == list(range(size))
    place = {node: index for index, region in enumerate(regions) for node in region.members}
    for region in regions:
        assert {node in accepted for node in region.members} == {region.kind == "npu"}
        inside = set(region.members)
        leaving = {after for node in inside for after in graph.successors(node)} - inside
        for node in leaving:
            assert not inside & nx.descendants(graph, node)
    assert all(place[before] <= place[after] for before, after in edges)
