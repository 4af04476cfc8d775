"use strict";
// The whole state comes as a snapshot; each event asks for the next one, at most once a second. Whatever comes from the hub
// is put in as text, never as markup: descriptions and reasons are written by agents.

const RETRY_MS = [1000, 30000];
const REFRESH_MS = 1000;
const LOGIN = 4401;
const EVENTS = 200;
const $ = (id) => document.getElementById(id);

let socket = null;
let retry = RETRY_MS[0];
let refreshing = 0;
let state = null;

function make(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function put(node, ...children) {
  node.replaceChildren(...children);
}

// --- words ---------------------------------------------------------------------------------------

function ago(ms) {
  if (!ms) return "";
  const s = Math.max(0, (Date.now() - ms) / 1000);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const KINDS = {
  idle: "good", working: "good", completed: "good", ok: "good",
  assigned: "warn", blocked: "warn", away: "warn", stopping: "warn", draining: "warn", paused: "warn", resting: "warn",
  degraded: "warn",
  offline: "quiet", unresponsive: "bad", dead_letter: "bad", critical: "bad", warning: "warn",
};

// --- tables --------------------------------------------------------------------------------------

function table(id, columns, rows, nothing) {
  const head = make("tr");
  for (const column of columns) head.append(make("th", column.name, column.kind || ""));
  const lines = rows.map((row) => {
    const line = make("tr");
    for (const column of columns) {
      const shown = column.show(row);
      const cell = make("td", shown instanceof Node ? "" : String(shown ?? ""), column.kind || "");
      if (shown instanceof Node) cell.append(shown);
      const mark = column.mark && KINDS[column.mark(row)];
      if (mark) cell.classList.add(mark);
      line.append(cell);
    }
    return line;
  });
  if (!lines.length) {
    const none = make("td", nothing, "none");
    none.colSpan = columns.length;
    const line = make("tr");
    line.append(none);
    lines.push(line);
  }
  put($(id), head, ...lines);
}

const TASK = [
  { name: "task", show: (task) => task.task_id },
  { name: "what", kind: "wide", show: (task) => task.description },
  { name: "lane", show: (task) => task.lane },
  { name: "status", show: (task) => task.status, mark: (task) => task.status },
  { name: "agent", show: (task) => task.holder },
  { name: "attempt", kind: "number", show: (task) => task.attempts },
  { name: "changed", kind: "number", show: (task) => ago(task.updated_at) },
];
const REASON = { name: "reason", kind: "wide", show: (task) => task.reason };
const PULL = { name: "pull request", kind: "wide", show: (task) => task.pull };
// An agent that gets no new work may still do what it has.
const stateOf = ({ state, withheld }) => withheld && withheld !== state ? `${state}, ${withheld}` : state;
const AGENT = [
  { name: "agent", show: (agent) => agent.agent_id },
  { name: "state", show: stateOf, mark: (agent) => agent.state },
  { name: "task", show: (agent) => agent.task_id },
  { name: "capabilities", kind: "wide", show: (agent) => agent.capabilities.join(", ") },
  { name: "connected", kind: "number", show: (agent) => ago(agent.connected_ms) },
  { name: "says", kind: "wide", show: (agent) => agent.status },
];

function button(text, act) {
  const made = make("button", text);
  made.type = "button";
  made.addEventListener("click", () => {
    made.disabled = true;
    act();
  });
  return made;
}

function show() {
  const { by_status: count, by_lane: lanes } = state;
  put($("cards"), ...[
    ["queued", count.queued + count.scheduled], ["in work", count.assigned],
    ["completed", count.completed], ["dead letter", count.dead_letter],
    ["agents here", state.agents.filter((agent) => agent.connected_ms).length],
  ].map(([name, number]) => {
    const card = make("div", name, "card");
    card.prepend(make("b", String(number)));
    return card;
  }));
  table("lanes", [
    { name: "lane", show: ([lane]) => lane },
    { name: "queued", kind: "number", show: ([, of]) => of.queued },
    { name: "scheduled", kind: "number", show: ([, of]) => of.scheduled },
    { name: "in work", kind: "number", show: ([, of]) => of.assigned },
    { name: "completed", kind: "number", show: ([, of]) => of.completed },
    { name: "dead letter", kind: "number", show: ([, of]) => of.dead_letter },
  ], Object.entries(lanes), "");
  $("agents-note").textContent = state.agents.length < state.agents_total ? `${state.agents.length} of ${state.agents_total}` : "";
  table("agents", AGENT, state.agents, "No agent was here yet: agentcom-sidecar join");
  table("active", [...TASK, REASON], state.active, "Nothing is in work.");
  table("queued", [...TASK, REASON], state.queued, "The queue is empty.");
  table("recent", [...TASK, PULL], state.recent, "Nothing was done yet.");
  const retry = { name: "", show: (task) => button("Retry", () => say({ type: "retry_task", task_id: task.task_id })) };
  table("dead_letter", [...TASK, REASON, retry], state.dead_letter, "Nothing was given up.");
  $("uptime").textContent = `up for ${ago(Date.now() - state.uptime_ms)}`;
  badge("health", state.status);
  showAlerts();
}

function showAlerts() {
  $("alerts").hidden = !state.alerts.length;
  put($("alerts"), ...state.alerts.map((alert) => {
    const line = make("div");
    line.append(make("b", alert.severity, KINDS[alert.severity] || ""), make("span", alert.message, "text"));
    line.append(make("span", `since ${ago(alert.fired_at)}`, "quiet"));
    line.append(alert.acknowledged ? make("span", "acknowledged", "quiet")
      : button("Acknowledge", () => say({ type: "acknowledge_alert", rule_id: alert.rule_id })));
    return line;
  }));
}

function badge(id, word) {
  $(id).textContent = word;
  $(id).className = `badge ${KINDS[word] || ""}`;
}

function sentence(event) {
  if (event.type === "task_event") {
    const who = event.agent_id ? ` by ${event.agent_id}` : "";
    return `${event.task_id} ${event.event}${who}${event.reason ? `: ${event.reason}` : ""}`;
  }
  if (event.type === "pull_event") return `${event.task_id}: pull request of ${event.url} ${event.event}`;
  if (event.agent) return `${event.agent.agent_id} ${event.type === "agent_joined" ? "is here" : event.agent.state}`;
  if (event.type === "agent_left") return `${event.agent_id} left`;
  if (event.alert) return `alert: ${event.alert.message}`;
  return `${event.type} ${event.rule_id || ""}`;
}

function tell(events) {
  for (const event of events) {
    const line = make("li", sentence(event));
    line.prepend(make("span", `${new Date(event.timestamp || Date.now()).toLocaleTimeString()} `));
    $("events").prepend(line);
  }
  while ($("events").childElementCount > EVENTS) $("events").lastChild.remove();
}

// --- the socket ----------------------------------------------------------------------------------

function say(request) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(request));
}

function refreshSoon() {
  if (refreshing) return;
  refreshing = setTimeout(() => {
    refreshing = 0;
    say({ type: "request_snapshot" });
  }, REFRESH_MS);
}

function connect() {
  badge("line", "connecting");
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/dashboard`);
  socket.addEventListener("message", ({ data }) => {
    const said = JSON.parse(data);
    retry = RETRY_MS[0];
    badge("line", "connected");
    if (said.type === "snapshot") {
      state = said.data;
      show();
    } else if (said.type === "events") {
      tell(said.data);
      refreshSoon();
    } else {
      refreshSoon();
    }
  });
  socket.addEventListener("close", ({ code }) => {
    badge("line", "disconnected");
    if (code === LOGIN) {
      ask();
      return;
    }
    setTimeout(connect, retry * (0.75 + Math.random() / 2));
    retry = Math.min(retry * 2, RETRY_MS[1]);
  });
}

// --- login ---------------------------------------------------------------------------------------

function ask(why = "") {
  $("board").hidden = true;
  $("login").hidden = false;
  $("refused").textContent = why;
  $("token").focus();
}

async function who() {
  const answer = await fetch("/api/login");
  return answer.ok ? answer.json() : null;
}

async function begin() {
  const me = await who();
  if (!me) {
    ask();
    return;
  }
  $("login").hidden = true;
  $("board").hidden = false;
  $("who").textContent = `${me.subject} (${me.role})`;
  connect();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  const answer = await fetch("/api/login", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (answer.ok) begin();
  else ask((await answer.json()).message);
});

$("logout").addEventListener("click", async () => {
  const me = await who();
  await fetch("/api/logout", { method: "POST", headers: { "x-csrf-token": me ? me.csrf : "" } });
  location.reload();
});

begin();
