// What the C core, or grpcio, calls in the sources that hook.cmake leaves out: there is nothing to register, and no credentials
// of Google's to be had. grpcio takes null for an error.
#include <grpc/grpc_security.h>

#include "src/core/ext/filters/client_channel/lb_policy/outlier_detection/outlier_detection.h"
#include "src/core/lib/config/core_configuration.h"

grpc_channel_credentials* grpc_google_default_credentials_create(grpc_call_credentials*) { return nullptr; }

namespace grpc_core {
const char* DisableOutlierDetectionAttribute::kName = "disable_outlier_detection";

void FaultInjectionFilterRegister(CoreConfiguration::Builder*) {}
void RegisterBackendMetricFilter(CoreConfiguration::Builder*) {}
void RegisterExtraFilters(CoreConfiguration::Builder*) {}
void RegisterFakeResolver(CoreConfiguration::Builder*) {}
void RegisterGrpcLbPolicy(CoreConfiguration::Builder*) {}
void RegisterOutlierDetectionLbPolicy(CoreConfiguration::Builder*) {}
void RegisterPriorityLbPolicy(CoreConfiguration::Builder*) {}
void RegisterRlsLbPolicy(CoreConfiguration::Builder*) {}
void RegisterWeightedRoundRobinLbPolicy(CoreConfiguration::Builder*) {}
void RegisterWeightedTargetLbPolicy(CoreConfiguration::Builder*) {}
}  // namespace grpc_core
