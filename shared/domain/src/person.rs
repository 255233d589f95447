//! person: who somebody is, and what each role may do. Roles are not ranked by number: what a role includes is said in
//! [`Role::includes`] alone.

use serde::{Deserialize, Serialize};

/// What somebody is to the restaurant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(type_name = "person_role", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has orders and carts of their own.
    Customer,
    /// Moves the orders of their locations.
    Staff,
    /// Also sees to catalogue, stock, prices and refunds of their locations.
    Manager,
    /// A machine: the channels and internal endpoints that it is named for.
    Service,
    /// Sees to people, and may do everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Customer, Self::Staff, Self::Manager, Self::Service, Self::Admin];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Manager => "manager",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    /// Reads a name as it stands in tokens and requests.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether whoever has this role may do what `other` may.
    pub const fn includes(self, other: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Manager => matches!(other, Self::Manager | Self::Staff | Self::Customer),
            Self::Staff => matches!(other, Self::Staff | Self::Customer),
            Self::Service => matches!(other, Self::Service),
            Self::Customer => matches!(other, Self::Customer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_may_do_what_admins_may_and_a_machine_is_nobody_else() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert!(role.includes(role));
            assert_eq!(role.includes(Role::Admin), role == Role::Admin);
            assert_eq!(role.includes(Role::Service), matches!(role, Role::Service | Role::Admin));
        }
        assert_eq!(Role::parse("Admin"), None);
        assert!(!Role::Staff.includes(Role::Manager) && !Role::Customer.includes(Role::Staff));
    }
}
