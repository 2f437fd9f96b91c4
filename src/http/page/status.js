// The status page: shows what /api/events tells. Whatever comes from connectors, brokers and payloads is set as text and
// never as markup, so that a script in a topic or an error message stays a text.

const MOODS = {
  online: 'good',
  dialing: 'busy',
  handshaking: 'busy',
  recovering: 'busy',
  waiting: 'busy',
  draining: 'busy',
  failed: 'bad',
  running: 'good',
  failing: 'bad',
};

/** Rates are averaged over so many snapshots, which come once a second. */
const RATE_SNAPSHOTS = 6;
/** With messages waiting and no acknowledgement for so long, "online" alone would give a false peace of mind. */
const SILENCE_MS = 60_000;
const LATE_MS = 4000;
const REOPEN_MS = 3000;
const EVENTS_MAX = 50;

const find = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** For each connector the last snapshots: when, and how many messages were in and out by then. */
const history = new Map();
let lastSnapshotAt = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

function formatDuration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function formatSize(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : precise.format(value)} ${units[unit]}`;
}

function formatRate(perSecond) {
  if (perSecond === undefined) return '–';
  return `${perSecond < 10 ? precise.format(perSecond) : number.format(perSecond)}/s`;
}

function total(counts, field) {
  return Object.values(counts).reduce((sum, lane) => sum + lane[field], 0);
}

function rates(connector, atMs) {
  const point = { atMs, in: total(connector.counts, 'accepted'), out: total(connector.counts, 'published') };
  const points = history.get(connector.id) ?? [];
  const before = points.at(-1);
  // Counts start again at zero when the service does.
  if (before !== undefined && (point.in < before.in || point.out < before.out || atMs <= before.atMs))
    points.length = 0;
  points.push(point);
  if (points.length > RATE_SNAPSHOTS) points.shift();
  history.set(connector.id, points);
  const first = points[0];
  const seconds = (atMs - first.atMs) / 1000;
  if (seconds <= 0) return { in: undefined, out: undefined };
  return { in: (point.in - first.in) / seconds, out: (point.out - first.out) / seconds };
}

function figure(list, name, value, alarm = false) {
  const box = element('div');
  box.append(element('dt', name), element('dd', value, alarm ? 'alarm' : undefined));
  list.append(box);
}

function problem(title, error, className) {
  const box = element('div', undefined, `problem ${className}`);
  box.append(element('strong', `${title}: `), document.createTextNode(error.message));
  if (error.remedy) box.append(element('div', error.remedy));
  return box;
}

function connectorCard(connector, atMs) {
  const card = element('li', undefined, 'card');
  const { counts, cache } = connector;
  const waiting = cache ? Object.values(cache.waitingCounts).reduce((sum, count) => sum + count, 0) : 0;
  const silentMs = atMs - Math.max(connector.lastAcknowledgedAtMs ?? 0, connector.sinceMs ?? 0);
  const silent = connector.state === 'online' && waiting > 0 && silentMs > SILENCE_MS;
  card.dataset.mood = silent ? 'bad' : (MOODS[connector.state] ?? 'none');
  card.append(element('h3', connector.name));
  card.append(element('p', connector.description || connector.state, 'state'));
  if (!counts || !cache) return card;

  const rate = rates(connector, atMs);
  const oldest = cache.oldestAcceptedAtMs === undefined ? '–' : formatDuration(atMs - cache.oldestAcceptedAtMs);
  const list = element('dl', undefined, 'figures');
  figure(list, 'In', formatRate(rate.in));
  figure(list, 'Out', formatRate(rate.out));
  figure(list, 'Waiting', number.format(waiting));
  figure(list, 'Oldest waiting', oldest);
  figure(list, 'Quarantined', number.format(cache.quarantinedCount), cache.quarantinedCount > 0);
  figure(list, 'On disk', formatSize(cache.sizeBytes));
  figure(list, 'Published', number.format(total(counts, 'published')));
  const acknowledged = connector.lastAcknowledgedAtMs;
  figure(
    list,
    'Last acknowledged',
    acknowledged === undefined ? 'never' : `${formatDuration(atMs - acknowledged)} ago`,
    silent,
  );
  const dropped = total(counts, 'dropped');
  if (dropped > 0) figure(list, 'Dropped', number.format(dropped), true);
  const doubtful = total(counts, 'possibleDuplicates');
  if (doubtful > 0) figure(list, 'Possible duplicates', number.format(doubtful));
  const unheard = total(counts, 'noSubscribers');
  if (unheard > 0) figure(list, 'Without subscribers', number.format(unheard));
  if (connector.reconnects > 0) figure(list, 'Reconnects', number.format(connector.reconnects));
  card.append(list);

  const error = connector.lastError;
  if (error !== undefined) {
    const past = connector.state === 'online';
    const ago = `${formatDuration(atMs - error.atMs)} ago`;
    card.append(problem(past ? `Last problem, ${ago}` : `Problem, ${ago}`, error, past ? 'past' : 'now'));
  }
  for (const warning of connector.warnings ?? []) card.append(problem('Warning', { message: warning }, 'warning'));
  return card;
}

function inputCard(input, atMs) {
  const card = element('li', undefined, 'card');
  card.dataset.mood = MOODS[input.state] ?? 'none';
  card.append(element('h3', input.id));
  card.append(element('p', input.description || input.state, 'state'));
  const list = element('dl', undefined, 'figures');
  figure(list, 'Delivered', number.format(input.deliveredCount));
  figure(list, 'Failed', number.format(input.failedCount), input.failedCount > 0);
  const { lastDeliveredAtMs } = input;
  figure(
    list,
    'Last delivered',
    lastDeliveredAtMs === undefined ? 'never' : `${formatDuration(atMs - lastDeliveredAtMs)} ago`,
  );
  card.append(list);
  if (input.lastError !== undefined) {
    const ago = `${formatDuration(atMs - input.lastError.atMs)} ago`;
    card.append(problem(`Last problem, ${ago}`, input.lastError, input.state === 'failing' ? 'now' : 'past'));
  }
  return card;
}

function showStatus(snapshot) {
  const { atMs, connectors, inputs } = snapshot;
  lastSnapshotAt = performance.now();
  document.body.classList.remove('stale');
  setStream('live', 'Live');
  find('version').textContent = `Version ${snapshot.version}`;
  find('readiness').hidden = snapshot.ready;
  find('readiness').textContent = snapshot.reasons.join(' ');
  find('no-connectors').hidden = connectors.length > 0;
  find('connectors').replaceChildren(...connectors.map((connector) => connectorCard(connector, atMs)));
  find('inputs-section').hidden = inputs.length === 0;
  find('inputs').replaceChildren(...inputs.map((input) => inputCard(input, atMs)));
}

function setStream(state, text) {
  const line = find('stream');
  if (line.dataset.state === state && line.textContent === text) return;
  line.dataset.state = state;
  line.textContent = text;
}

const TELLERS = {
  state: (event) => event.description,
  quarantined: (event) => `A message was set aside (${event.code}): ${event.reason}`,
  warning: (event) => event.message,
  failure: (event) => `${event.error.message} ${event.error.remedy}`,
  suppressed: (event) => `${number.format(event.count)} more events in this second`,
};

function showEvent(name, event) {
  const line = element('li');
  const time = element('time', new Date().toLocaleTimeString('en-GB'));
  line.append(time, element('strong', event.id), element('span', TELLERS[name](event)));
  const list = find('events');
  find('no-events').hidden = true;
  list.prepend(line);
  while (list.children.length > EVENTS_MAX) list.lastChild.remove();
}

function open() {
  const stream = new EventSource('/api/events');
  stream.addEventListener('status', (message) => showStatus(JSON.parse(message.data)));
  for (const name of Object.keys(TELLERS)) {
    stream.addEventListener(name, (message) => showEvent(name, JSON.parse(message.data)));
  }
  stream.addEventListener('error', () => {
    document.body.classList.add('stale');
    setStream('lost', 'Connection lost, trying again…');
    // The browser tries again by itself after a lost connection, but gives up after an error answer.
    if (stream.readyState !== EventSource.CLOSED) return;
    stream.close();
    setTimeout(open, REOPEN_MS);
  });
}

// A stream can also fall silent without an error, when a machine between goes to sleep.
setInterval(() => {
  if (lastSnapshotAt === 0 || performance.now() - lastSnapshotAt < LATE_MS) return;
  document.body.classList.add('stale');
  setStream('lost', `No news for ${formatDuration(performance.now() - lastSnapshotAt)}`);
}, 1000);

open();
