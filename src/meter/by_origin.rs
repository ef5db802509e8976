//! Families whose children go with their origins. Floor 1.

use std::fmt::Debug;

use prometheus::{
    core::{Collector, MetricVec, MetricVecBuilder},
    proto::{LabelPair, MetricFamily},
};

/// A family with the label `origin`.
pub(super) trait ByOrigin: Debug + Send + Sync {
    /// Forgets the children that are not to be kept; asked with a child's listener, where it has one, and its origin.
    fn retain(&self, keep: &dyn Fn(Option<&str>, &str) -> bool);
}

impl<B: MetricVecBuilder> ByOrigin for MetricVec<B> {
    /// A family does not list its own children's labels but in what it would print: that is enough for a reload.
    fn retain(&self, keep: &dyn Fn(Option<&str>, &str) -> bool) {
        let names: Vec<String> = self
            .desc()
            .iter()
            .flat_map(|desc| desc.variable_labels.iter().cloned())
            .collect();
        for printed in self.collect().iter().flat_map(MetricFamily::get_metric) {
            let value = |name: &str| {
                let labels = printed.get_label().iter();
                labels
                    .filter(|label| label.name() == name)
                    .map(LabelPair::value)
                    .next()
            };
            let listener = value("listener");
            if value("origin").is_none_or(|origin| keep(listener, origin)) {
                continue;
            }
            let values: Vec<&str> = names
                .iter()
                .map(|name| value(name).unwrap_or_default())
                .collect();
            // a child that somebody else removed meanwhile is no loss
            drop(self.remove_label_values(&values));
        }
    }
}
