//! The graph of steps: acyclic by construction, because an edge can only lead to a node that was
//! there before.
//!
//! petgraph stays behind this type. Knows nothing of what a step is.

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

/// A node of a graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(u32);

impl NodeId {
    /// The node's place in the order in which nodes were added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A directed acyclic graph.
#[derive(Clone, Debug)]
pub struct Graph<T> {
    inner: DiGraph<T, ()>,
}

impl<T> Default for Graph<T> {
    fn default() -> Self {
        Graph { inner: DiGraph::new() }
    }
}

impl<T> Graph<T> {
    /// Adds a node that needs the results of `inputs`, each of which was added before.
    pub fn add(&mut self, node: T, inputs: impl IntoIterator<Item = NodeId>) -> NodeId {
        let index = self.inner.add_node(node);
        for input in inputs {
            // `update_edge` keeps one edge where a node needs the same input twice.
            self.inner.update_edge(NodeIndex::new(input.index()), index, ());
        }
        NodeId(index.index() as u32)
    }

    /// The node's content.
    pub fn get(&self, id: NodeId) -> &T {
        &self.inner[NodeIndex::new(id.index())]
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.node_count() == 0
    }

    /// All nodes in the order in which they were added, which is one in which they could run.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &T)> {
        self.inner.node_indices().map(|index| (NodeId(index.index() as u32), &self.inner[index]))
    }

    /// The nodes whose results `id` needs.
    pub fn inputs(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.inner
            .edges_directed(NodeIndex::new(id.index()), petgraph::Direction::Incoming)
            .map(|edge| NodeId(edge.source().index() as u32))
    }

    /// The nodes that need the result of `id`.
    pub fn dependents(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.inner
            .edges_directed(NodeIndex::new(id.index()), petgraph::Direction::Outgoing)
            .map(|edge| NodeId(edge.target().index() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_lead_from_inputs_to_what_needs_them_once_each() {
        let mut graph = Graph::default();
        let a = graph.add("a", []);
        let b = graph.add("b", [a, a]);
        let c = graph.add("c", [a, b]);
        assert_eq!(graph.inputs(b).collect::<Vec<_>>(), [a]);
        let mut dependents: Vec<NodeId> = graph.dependents(a).collect();
        dependents.sort();
        assert_eq!(dependents, [b, c]);
        assert_eq!(graph.nodes().map(|(_, name)| *name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
