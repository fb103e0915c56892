//! Metrics: each name once, as a variant. No label grows with executors or versions.
//!
//! The recorder is the process's: several control planes inside one test process count together.

use std::sync::OnceLock;
use std::time::Duration;

use domain::Kind as Kinds;
use domain::attempt::Outcome;
use metrics::Label;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds, in seconds. A delivery on one machine takes 0.1 ms, and a reconnect 60 s.
const BUCKETS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kind:ident;)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Metric {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its public name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                }
            }

            const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)*
                }
            }
        }
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

metrics! {
    /// Streams that are open now.
    Streams = "novacula_streams", Gauge;
    /// Streams that were opened.
    StreamsOpened = "novacula_streams_opened_total", Counter;
    /// Streams that were closed, by reason.
    StreamsClosed = "novacula_streams_closed_total", Counter;
    /// Streams that were offered another replica, since this one had lost its database.
    StreamsOffered = "novacula_streams_offered_total", Counter;
    /// Upgrade requests, by result.
    UpgradeRequests = "novacula_upgrade_requests_total", Counter;
    /// Attempts that ended, by kind and outcome.
    Attempts = "novacula_attempts_total", Counter;
    /// Executors with a pending upgrade.
    PendingUpgrades = "novacula_pending_upgrades", Gauge;
    /// From commit to written on the stream, in seconds.
    Delivery = "novacula_delivery_seconds", Histogram;
    /// From commit to the executor's acknowledgement, in seconds.
    Receipt = "novacula_receipt_seconds", Histogram;
    /// Store operations, in seconds.
    Store = "novacula_store_seconds", Histogram;
    /// Executor certificates that were issued.
    CertificatesIssued = "novacula_certificates_issued_total", Counter;
    /// RPCs that were answered, by code. Streams count when they open.
    Rpcs = "novacula_rpcs_total", Counter;
}

/// Starts to record; from the second call on it only answers with the handle that renders.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = Metric::ALL.iter().filter(|metric| metric.kind() == Kind::Histogram).fold(
                PrometheusBuilder::new(),
                |builder, metric| {
                    let matcher = Matcher::Full(metric.name().to_owned());
                    builder.set_buckets_for_metric(matcher, BUCKETS).expect("the buckets are not empty")
                },
            );
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Another recorder is there only when a program that embeds us installed its own: it then counts.
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("metrics go to a recorder that was installed before");
            }
            for metric in Metric::ALL {
                describe(*metric);
                begin(*metric);
            }
            handle
        })
        .clone()
}

fn describe(metric: Metric) {
    let help = metric.help().trim();
    match metric.kind() {
        Kind::Counter => metrics::describe_counter!(metric.name(), help),
        Kind::Gauge => metrics::describe_gauge!(metric.name(), help),
        Kind::Histogram => metrics::describe_histogram!(metric.name(), help),
    }
}

/// Puts a metric at zero: one that appeared with its first event would hide that event from `rate()`, and an alert on a
/// name that is not there yet says nothing. Labels whose values are many, or begin with the start itself, are left to come.
fn begin(metric: Metric) {
    match metric {
        Metric::Streams | Metric::PendingUpgrades => add(metric, 0.0),
        Metric::StreamsOpened | Metric::StreamsOffered | Metric::CertificatesIssued => zero(metric, &[]),
        Metric::StreamsClosed => zero(metric, &[("reason", "disconnected")]),
        Metric::UpgradeRequests => {
            for result in ["accepted", "refused", "invalid", "failed"] {
                zero(metric, &[("result", result)]);
            }
        }
        Metric::Attempts => {
            for kind in [Kinds::Agent, Kinds::Operator] {
                for outcome in Outcome::ALL {
                    zero(metric, &[("kind", kind.as_str()), ("outcome", outcome.as_str())]);
                }
            }
        }
        Metric::Delivery | Metric::Receipt => drop(metrics::histogram!(metric.name())),
        Metric::Store | Metric::Rpcs => {}
    }
}

fn zero(metric: Metric, labels: &[(&'static str, &'static str)]) {
    metrics::counter!(metric.name(), label(labels)).increment(0);
}

/// Counts one.
pub fn count(metric: Metric, labels: &[(&'static str, &'static str)]) {
    metrics::counter!(metric.name(), label(labels)).increment(1);
}

/// Sets a level.
pub fn set(metric: Metric, value: f64) {
    metrics::gauge!(metric.name()).set(value);
}

/// Moves a level, up or down.
pub fn add(metric: Metric, by: f64) {
    metrics::gauge!(metric.name()).increment(by);
}

/// Notes how long something took.
pub fn observe(metric: Metric, labels: &[(&'static str, &'static str)], took: Duration) {
    metrics::histogram!(metric.name(), label(labels)).record(took.as_secs_f64());
}

fn label(labels: &[(&'static str, &'static str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered_under_its_public_name() {
        let handle = install();
        count(Metric::StreamsClosed, &[("reason", "test")]);
        observe(Metric::Delivery, &[], Duration::from_micros(300));
        let text = handle.render();
        assert!(text.contains("novacula_streams_closed_total{reason=\"test\"} 1"), "{text}");
        assert!(text.contains("novacula_delivery_seconds_bucket{le=\"0.0005\"}"), "{text}");
    }
}
