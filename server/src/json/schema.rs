//! What the RPCs of the API listener take and answer, from the descriptors that were built in.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

/// Ours, health's, and the details of refusals. Three pools, since each brings its own copy of Google's types.
static POOLS: LazyLock<[DescriptorPool; 3]> = LazyLock::new(|| {
    let sets =
        [proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_types::pb::FILE_DESCRIPTOR_SET];
    sets.map(|set| DescriptorPool::decode(set).expect("built in, and decoded by a test"))
});

/// The RPC behind `/package.Service/Method`.
#[must_use]
pub fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let service = POOLS.iter().find_map(|pool| pool.get_service_by_name(service))?;
    service.methods().find(|candidate| candidate.name() == method)
}

/// The message of this full name.
#[must_use]
pub fn message(name: &str) -> Option<MessageDescriptor> {
    POOLS.iter().find_map(|pool| pool.get_message_by_name(name))
}

/// Whether one message is sent and one is answered.
#[must_use]
pub fn is_unary(method: &MethodDescriptor) -> bool {
    !method.is_client_streaming() && !method.is_server_streaming()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::access::{Listener, TABLE};

    #[test]
    fn every_rpc_of_ours_is_known_and_so_is_healths() {
        for row in TABLE.iter().filter(|row| row.listener == Listener::Api && row.path.starts_with("/novacula.")) {
            assert!(method(row.path).is_some(), "{}", row.path);
        }
        assert!(method("/grpc.health.v1.Health/Check").is_some());
        assert!(message("google.rpc.ErrorInfo").is_some());
        assert!(method("/novacula.v1.UpgradeService/Nothing").is_none() && method("novacula").is_none());
    }
}
