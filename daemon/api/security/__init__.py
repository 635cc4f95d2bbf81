"""Who asks, what they may do, and of which tenant: `scope` guards a route, `tenant_of` says whose data it may touch."""

from daemon.api.security.guard import Reach, holds_on, principal_of, scope, tenant_of, whose

__all__ = ["Reach", "holds_on", "principal_of", "scope", "tenant_of", "whose"]
