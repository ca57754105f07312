// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_methods.h"

#include <algorithm>
#include <charconv>

#include "base/printable.h"
#include "core/forward_entry.h"
#include "daemon/bus_properties.h"
#include "daemon/memory.h"
#include "glib/object_path.h"

namespace vf {
namespace {

// D-Bus allows 128 MiB in a message.
constexpr std::size_t answer_bytes = 120 << 20;

Error no_such_domain(const std::string& domain) {
  return {ErrorCode::no_such_domain,
          "no domain \"" + printable(domain) + "\"; `virsh list --all` shows the domains"};
}

// No ErrorCode: to the command line it is no daemon that could say.
void fail_without_libvirt(BusCall& call, const Model& model, const std::string& domain) {
  const std::string reason = model.libvirt_reason();
  call.fail((std::string(bus_error_prefix) + "NoLibvirt").c_str(),
            "no connection to libvirt (" + (reason.empty() ? model.connection_uri() : reason) +
                "), so whether there is a domain \"" + printable(domain) +
                "\" is not known; `virsh --connect " + model.connection_uri() +
                " list` shows whether it answers");
}

Error no_such_forward() {
  return {ErrorCode::no_such_forward,
          "no such forward; `virt-forward list --all` shows the forwards"};
}

Error no_such_port() {
  return {ErrorCode::no_such_forward,
          "the guest has no such port open; `virt-forward auto DOMAIN` shows those it has"};
}

std::optional<int> parse_id(const std::string& text) {
  int id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) return std::nullopt;
  return id;
}

bool same_uuid(const std::string& one, const std::string& other) {
  return g_ascii_strcasecmp(one.c_str(), other.c_str()) == 0;
}

// virsh's order: id, UUID, name.
const DomainView* find(const std::vector<DomainView>& domains, const std::string& text) {
  const auto id = parse_id(text);
  auto found = std::find_if(domains.begin(), domains.end(),
                            [&](const DomainView& view) { return id && view.id == id; });
  if (found == domains.end())
    found = std::find_if(domains.begin(), domains.end(),
                         [&](const DomainView& view) { return same_uuid(view.uuid, text); });
  if (found == domains.end())
    found = std::find_if(domains.begin(), domains.end(),
                         [&](const DomainView& view) { return view.name == text; });
  return found == domains.end() ? nullptr : &*found;
}

}  // namespace

struct BusMethods::Row {
  const char* interface;
  const char* method;
  BusAction action;
  void (BusMethods::*run)(const Call&);
};

const BusMethods::Row* BusMethods::row(const std::string& interface, const std::string& method) {
  static constexpr Row table[] = {
      {manager_interface, "FindDomain", BusAction::read, &BusMethods::find_domain},
      {manager_interface, "GetCounters", BusAction::read, &BusMethods::all_counters},
      {manager_interface, "GetStatistics", BusAction::read, &BusMethods::statistics},
      {object_manager_interface, "GetManagedObjects", BusAction::read,
       &BusMethods::managed_objects},
      {properties_interface, "Get", BusAction::read, &BusMethods::get_property},
      {properties_interface, "GetAll", BusAction::read, &BusMethods::get_properties},
      {domain_interface, "AddForward", BusAction::add, &BusMethods::add_forward},
      {domain_interface, "AddForwards", BusAction::add, &BusMethods::add_forwards},
      {domain_interface, "ChangeForward", BusAction::change, &BusMethods::change_forward},
      {domain_interface, "RemoveForward", BusAction::remove, &BusMethods::remove_forward},
      {domain_interface, "Block", BusAction::remove, &BusMethods::block},
      {domain_interface, "Unblock", BusAction::add, &BusMethods::unblock},
      {domain_interface, "SetAutomatic", BusAction::add, &BusMethods::set_automatic},
      {domain_interface, "GetMetadata", BusAction::read, &BusMethods::metadata},
      {domain_interface, "Allow", BusAction::add, &BusMethods::allow},
      {domain_interface, "Disallow", BusAction::remove, &BusMethods::disallow},
      {forward_interface, "Remove", BusAction::remove, &BusMethods::remove_this_forward},
      {forward_interface, "GetCounters", BusAction::read, &BusMethods::counters},
  };
  for (const Row& row : table)
    if (interface == row.interface && method == row.method) return &row;
  return nullptr;
}

BusMethods::BusMethods(const Model& model, Controller& controller,
                       std::function<void()> before_answer)
    : model_(model),
      controller_(controller),
      before_answer_(std::move(before_answer)),
      self_(std::make_shared<BusMethods*>(this)) {}

std::optional<BusAction> BusMethods::action(const std::string& interface,
                                            const std::string& method) {
  const Row* found = row(interface, method);
  if (!found) return std::nullopt;
  return found->action;
}

void BusMethods::run(const Call& call) {
  if (const Row* found = row(call->interface(), call->method()))
    (this->*found->run)(call);
  else
    call->fail("org.freedesktop.DBus.Error.UnknownMethod", "no method " + call->method());
}

const DomainView* BusMethods::domain_of(const Call& call) const {
  const auto name = parse_object_path(call->path());
  const DomainView* domain = name && name->id.empty() ? model_.domain(name->uuid) : nullptr;
  if (!domain) call->fail(no_such_domain(name ? name->uuid : call->path()));
  return domain;
}

const ForwardView* BusMethods::forward_of(const Call& call) const {
  const auto name = parse_object_path(call->path());
  const ForwardView* forward =
      name && !name->id.empty() && !name->port ? model_.forward(name->uuid, name->id) : nullptr;
  if (!forward) call->fail(no_such_forward());
  return forward;
}

Result<Ref<GVariant>> BusMethods::properties_of(const Call& call) const {
  const std::string path = call->path();
  if (path == root_path) return manager_properties(model_);
  const auto name = parse_object_path(path);
  if (name && name->id.empty()) {
    const DomainView* domain = model_.domain(name->uuid);
    if (!domain) return Unexpected(no_such_domain(name->uuid));
    return domain_properties(*domain);
  }
  if (name && name->port) {
    const PortView* port = model_.port(name->uuid, name->id);
    if (!port) return Unexpected(no_such_port());
    return port_properties(*port);
  }
  const ForwardView* forward = name ? model_.forward(name->uuid, name->id) : nullptr;
  if (!forward) return Unexpected(no_such_forward());
  return forward_properties(*forward);
}

void BusMethods::find_domain(const Call& call) {
  const gchar* text = nullptr;
  g_variant_get(call->parameters(), "(&s)", &text);
  const auto answered = [this, call, text] {
    const std::vector<DomainView> domains = model_.domains();
    const DomainView* domain = find(domains, text);
    if (domain) call->answer(g_variant_new("(o)", domain_path(domain->uuid).c_str()));
    return domain != nullptr;
  };
  if (answered()) return;
  controller_.catch_up([this, call, text, answered, self = std::weak_ptr(self_)] {
    if (self.expired() || answered()) return;
    if (model_.libvirt_connected())
      call->fail(no_such_domain(text));
    else
      fail_without_libvirt(*call, model_, text);
  });
}

// Until libvirt has been read for the first time there is nothing, and until the relay has answered
// nothing is bound, which is not an answer.
void BusMethods::managed_objects(const Call& call) {
  controller_.settle([this, call, self = std::weak_ptr(self_)] {
    if (!self.expired()) answer_objects(call);
  });
}

void BusMethods::answer_objects(const Call& call) {
  before_answer_();
  GVariantBuilder objects;
  g_variant_builder_init(&objects, G_VARIANT_TYPE("a{oa{sa{sv}}}"));
  const auto add = [&](const std::string& path, const char* interface,
                       const Ref<GVariant>& properties) {
    g_variant_builder_add(&objects, "{o@a{sa{sv}}}", path.c_str(),
                          as_interfaces(interface, properties).get());
  };
  for (const DomainView& domain : model_.domains()) {
    add(domain_path(domain.uuid), domain_interface, domain_properties(domain));
    for (const ForwardView& forward : model_.forwards(domain.uuid))
      add(forward_path(forward.uuid, forward.id), forward_interface, forward_properties(forward));
    for (const PortView& port : model_.ports(domain.uuid))
      add(port_path(port.uuid, port.id), port_interface, port_properties(port));
  }
  const auto answer = borrow(g_variant_new("(a{oa{sa{sv}}})", &objects));
  if (g_variant_get_size(answer.get()) > answer_bytes)
    call->fail({ErrorCode::failed, "more forwards than one message takes; ask for each domain's"});
  else
    call->answer(answer.get());
  return_memory_soon();
}

void BusMethods::get_property(const Call& call) {
  const auto properties = properties_of(call);
  if (!properties) {
    call->fail(properties.error());
    return;
  }
  const gchar* name = nullptr;
  g_variant_get(call->parameters(), "(&s&s)", nullptr, &name);
  const auto value = adopt(g_variant_lookup_value(properties->get(), name, nullptr));
  if (value)
    call->answer(g_variant_new("(v)", value.get()));
  else
    call->fail("org.freedesktop.DBus.Error.UnknownProperty",
               std::string(name) + " is unknown here, or does not apply");
}

void BusMethods::get_properties(const Call& call) {
  const auto properties = properties_of(call);
  if (properties)
    call->answer(g_variant_new("(@a{sv})", properties->get()));
  else
    call->fail(properties.error());
}

void BusMethods::add_forward(const Call& call) {
  const auto attributes = adopt(g_variant_get_child_value(call->parameters(), 0));
  auto parsed = parse_attributes(attributes.get());
  add(call,
      parsed ? Result(std::vector<ForwardAttributes>{*std::move(parsed)})
             : Unexpected(parsed.error()),
      [answer = forwards_answer_of(call)](Result<Controller::Added> added) {
        if (added) return answer(std::move(added->front()));
        Error error = std::move(added).error();
        take_entry(error);
        answer(Unexpected(std::move(error)));
      });
}

void BusMethods::add_forwards(const Call& call) {
  const auto forwards = adopt(g_variant_get_child_value(call->parameters(), 0));
  add(call, parse_forwards(forwards.get()),
      [this, call, self = std::weak_ptr(self_)](Result<Controller::Added> added) {
        if (!self.expired()) before_answer_();
        if (!added) {
          call->fail(added.error());
          return;
        }
        GVariantBuilder list;
        g_variant_builder_init(&list, G_VARIANT_TYPE("aa(oqq)"));
        for (const std::vector<ForwardView>& forward : *added)
          g_variant_builder_add_value(&list, added_variant(forward));
        call->answer(g_variant_new("(aa(oqq))", &list));
      });
}

void BusMethods::add(const Call& call, Result<std::vector<ForwardAttributes>> forwards,
                     std::function<void(Result<Controller::Added>)> done) {
  const DomainView* domain = domain_of(call);
  if (!domain) return;
  const auto given = adopt(g_variant_get_child_value(call->parameters(), 1));
  const auto options = parse_edit_options(given.get(), OwnOption::dry_run);
  if (!options) {
    call->fail(options.error());
    return;
  }
  if (!forwards) return done(Unexpected(std::move(forwards).error()));
  const auto ask = options->dry_run ? &Controller::try_forwards : &Controller::add_forwards;
  (controller_.*ask)(std::string(domain->uuid), *forwards, options->scope, std::move(done));
}

void BusMethods::change_forward(const Call& call) {
  const DomainView* domain = domain_of(call);
  if (!domain) return;
  const gchar* forward = nullptr;
  g_variant_get_child(call->parameters(), 0, "&s", &forward);
  const auto attributes = adopt(g_variant_get_child_value(call->parameters(), 1));
  const auto given = adopt(g_variant_get_child_value(call->parameters(), 2));
  const auto options = parse_edit_options(given.get(), OwnOption::none);
  if (!options) {
    call->fail(options.error());
    return;
  }
  const auto parsed = parse_attributes(attributes.get());
  if (!parsed) {
    call->fail(parsed.error());
    return;
  }
  controller_.change_forward(std::string(domain->uuid), forward, *parsed, options->scope,
                             forwards_answer_of(call));
}

std::function<void(Result<std::vector<ForwardView>>)> BusMethods::forwards_answer_of(
    const Call& call) {
  return [call, self = std::weak_ptr(self_)](Result<std::vector<ForwardView>> added) {
    if (const auto alive = self.lock()) (*alive)->before_answer_();
    if (!added) {
      call->fail(added.error());
      return;
    }
    call->answer(g_variant_new("(@a(oqq))", added_variant(*added)));
  };
}

void BusMethods::remove(const Call& call, const std::string& uuid, const std::string& forward,
                        GVariant* given) {
  const auto options = parse_edit_options(given, OwnOption::drain);
  if (!options) {
    call->fail(options.error());
    return;
  }
  controller_.remove_forward(uuid, forward, options->scope, options->drain, answer_of(call));
}

std::function<void(Result<void>)> BusMethods::answer_of(const Call& call) {
  return [call, self = std::weak_ptr(self_)](Result<void> result) {
    if (const auto alive = self.lock()) (*alive)->before_answer_();
    if (result)
      call->answer(nullptr);
    else
      call->fail(result.error());
  };
}

std::optional<BusMethods::PortEdit> BusMethods::port_edit(const Call& call, OwnOption own) const {
  const DomainView* domain = domain_of(call);
  if (!domain) return std::nullopt;
  const gchar* protocol_word = nullptr;
  const gchar* range = nullptr;
  GVariant* given = nullptr;
  g_variant_get(call->parameters(), "(&s&s@a{sv})", &protocol_word, &range, &given);
  const auto owned = adopt(given);
  const auto options = parse_edit_options(given, own);
  const auto protocol = parse<Protocol>(protocol_word);
  const auto ports = PortRange::parse(range);
  if (!protocol || !ports)
    call->fail({ErrorCode::invalid_argument,
                !protocol ? "protocol \"" + printable(protocol_word) + "\": allowed are tcp and udp"
                          : "ports \"" + printable(range) +
                                "\": allowed are 1-65535 or a range like 8000-8009"});
  else if (!options)
    call->fail(options.error());
  else
    return PortEdit{domain->uuid, *protocol, *ports, *options};
  return std::nullopt;
}

void BusMethods::block(const Call& call) {
  if (const auto edit = port_edit(call, OwnOption::none))
    controller_.block(edit->uuid, edit->protocol, edit->ports, edit->options.scope,
                      answer_of(call));
}

void BusMethods::unblock(const Call& call) {
  if (const auto edit = port_edit(call, OwnOption::none))
    controller_.unblock(edit->uuid, edit->protocol, edit->ports, edit->options.scope,
                        answer_of(call));
}

void BusMethods::allow(const Call& call) {
  if (const auto edit = port_edit(call, OwnOption::process))
    controller_.allow(edit->uuid, edit->protocol, edit->ports, edit->options.process,
                      edit->options.scope, answer_of(call));
}

void BusMethods::disallow(const Call& call) {
  if (const auto edit = port_edit(call, OwnOption::process))
    controller_.disallow(edit->uuid, edit->protocol, edit->ports, edit->options.process,
                         edit->options.scope, answer_of(call));
}

void BusMethods::set_automatic(const Call& call) {
  const DomainView* domain = domain_of(call);
  if (!domain) return;
  const gchar* word = nullptr;
  GVariant* given = nullptr;
  g_variant_get(call->parameters(), "(&s@a{sv})", &word, &given);
  const auto owned = adopt(given);
  const auto options = parse_edit_options(given, OwnOption::none);
  const auto mode = parse<AutoMode>(word);
  if (!mode)
    call->fail({ErrorCode::invalid_argument,
                "mode \"" + printable(word) + "\": allowed are yes, no and policy"});
  else if (!options)
    call->fail(options.error());
  else
    controller_.set_automatic(std::string(domain->uuid), *mode, options->scope, answer_of(call));
}

void BusMethods::metadata(const Call& call) {
  const DomainView* domain = domain_of(call);
  if (!domain) return;
  const auto given = adopt(g_variant_get_child_value(call->parameters(), 0));
  const auto options = parse_edit_options(given.get(), OwnOption::none);
  if (!options) {
    call->fail(options.error());
    return;
  }
  controller_.metadata(std::string(domain->uuid), options->scope,
                       [call](Result<std::string> element) {
                         if (element)
                           call->answer(g_variant_new("(@s)", new_string(*element)));
                         else
                           call->fail(element.error());
                       });
}

void BusMethods::remove_forward(const Call& call) {
  const DomainView* domain = domain_of(call);
  if (!domain) return;
  const gchar* forward = nullptr;
  GVariant* options = nullptr;
  g_variant_get(call->parameters(), "(&s@a{sv})", &forward, &options);
  const auto owned = adopt(options);
  remove(call, std::string(domain->uuid), forward, options);
}

void BusMethods::remove_this_forward(const Call& call) {
  const ForwardView* forward = forward_of(call);
  if (!forward) return;
  const auto options = adopt(g_variant_get_child_value(call->parameters(), 0));
  const std::string uuid = forward->uuid;
  const std::string name = forward->definition.empty() ? forward->id : forward->definition;
  remove(call, uuid, name, options.get());
}

void BusMethods::counters(const Call& call) {
  const ForwardView* forward = forward_of(call);
  if (!forward) return;
  const std::string uuid = forward->uuid;
  const std::string id = forward->id;
  controller_.counters(uuid, id, [call](Result<ForwardCounters> counters) {
    if (counters)
      call->answer(g_variant_new("(@a{st})", counters_variant(*counters)));
    else
      call->fail(counters.error());
  });
}

void BusMethods::all_counters(const Call& call) {
  controller_.all_counters([call](Result<std::vector<Controller::Counted>> counted) {
    if (!counted) {
      call->fail(counted.error());
      return;
    }
    GVariantBuilder list;
    g_variant_builder_init(&list, G_VARIANT_TYPE("a(oa{st})"));
    for (const Controller::Counted& one : *counted)
      g_variant_builder_add(&list, "(o@a{st})", forward_path(one.uuid, one.id).c_str(),
                            counters_variant(one.counters));
    call->answer(g_variant_new("(a(oa{st}))", &list));
  });
}

void BusMethods::statistics(const Call& call) {
  controller_.statistics([call](const DaemonStatistics& statistics) {
    const auto figures =
        borrow(figures_variant({{"connections-refused", statistics.connections_refused},
                                {"datagrams-lost", statistics.datagrams_lost},
                                {"guest-reports-slowed", statistics.guest_reports_slowed},
                                {"guest-ports-left-out", statistics.guest_ports_left_out}}));
    call->answer(
        g_variant_new("(@a{st}@a(stta(tt)))", figures.get(), lanes_variant(statistics.lanes)));
  });
}

}  // namespace vf
