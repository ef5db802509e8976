//! How a metric family is made: its name, its kind, its buckets. Floor 1.

use std::sync::Arc;

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
    core::{MetricVec, MetricVecBuilder},
};

use super::by_origin::ByOrigin;

/// Makes families and registers them.
pub(super) struct Maker<'a> {
    registry: &'a Registry,
    by_origin: Vec<Box<dyn ByOrigin>>,
}

impl<'a> Maker<'a> {
    pub(super) const fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            by_origin: Vec::new(),
        }
    }

    /// Those made so far that have the label `origin`.
    pub(super) fn by_origin(self) -> Arc<[Box<dyn ByOrigin>]> {
        self.by_origin.into()
    }

    fn registered<B: MetricVecBuilder + 'static>(
        &mut self,
        family: MetricVec<B>,
        labels: &[&str],
    ) -> prometheus::Result<MetricVec<B>> {
        if labels.contains(&"origin") {
            self.by_origin.push(Box::new(family.clone()));
        }
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(opts(name, help), labels)?, labels)
    }

    pub(super) fn seconds(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<CounterVec> {
        self.registered(CounterVec::new(opts(name, help), labels)?, labels)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::with_opts(opts(name, help))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.registered(IntGaugeVec::new(opts(name, help), labels)?, labels)
    }

    pub(super) fn seconds_gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GaugeVec> {
        self.registered(GaugeVec::new(opts(name, help), labels)?, labels)
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.registered(HistogramVec::new(opts, labels)?, labels)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("doorward")
}

// Log-spaced, at most 20 each: about three to a decade where it matters.
pub(super) const RTT: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15,
    0.2, 0.3, 0.5, 1.0,
];
pub(super) const DATABASE: &[f64] = &[
    0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 30.0,
];
pub(super) const OVERHEAD: &[f64] = &[
    0.000_01, 0.000_02, 0.000_03, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01,
];
pub(super) const OPENING: &[f64] = &[
    0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];
pub(super) const LIFETIME: &[f64] = &[
    0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0,
];
