
'use strict';
// Asks /status again and again, and draws what it says. What comes from there is text of others: it is shown by
// textContent and never becomes HTML.

const EVERY = 2000; // ms between two questions
const PATIENCE = 5000; // ms for an answer
const WINDOW = 300; // s that are kept, and shown once they are there
const LEAST = 60; // s that plots show at least
const MEAN = 5; // s over which a shown rate is taken
const OLD = 15; // s after which a counter's last reading says nothing of now

const byId = id => document.getElementById(id);
const say = (id, text) => { byId(id).textContent = text; };
const number = new Intl.NumberFormat('en');

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function scaled(value, step, units) {
  let place = 0;
  while (value >= step && place < units.length - 1) { value /= step; place += 1; }
  return `${value.toFixed(place === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${units[place]}`;
}
const bits = value => scaled(value, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']);
const bytes = value => scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
const perSecond = value => value > 0 && value < 10 ? value.toFixed(1) : number.format(Math.round(value));

// What a counter had at which time, for the last minutes.
class History {
  constructor() { this.samples = []; }

  add(at, packets, octets) {
    const last = this.samples.at(-1);
    if (last && at === last.at) return;
    if (last && (octets < last.octets || packets < last.packets)) this.samples = [];
    this.samples.push({ at, packets, octets });
    while (this.samples[0].at < at - WINDOW) this.samples.shift();
  }

  // Packets and bits a second, over the last seconds; none before there are two samples, or if nobody reads on.
  get rate() {
    const last = this.samples.at(-1);
    if (this.samples.length < 2 || latest - last.at > OLD) return null;
    const first = this.samples.find(sample => sample.at >= last.at - MEAN - 0.5);
    return first === last ? null : slope(first, last);
  }

  // Pairs of time and bits a second.
  get points() {
    return this.samples.slice(1).map((sample, place) => [sample.at, slope(this.samples[place], sample).bits]);
  }
}

function slope(from, to) {
  const time = to.at - from.at;
  return { packets: (to.packets - from.packets) / time, bits: 8 * (to.octets - from.octets) / time };
}

// How many seconds the plots show.
const span = () => Math.min(Math.max(latest - (total[0]?.[0] ?? latest), LEAST), WINDOW);

// Draws the points up to now, and returns the highest.
function plot(svg, points) {
  const { width, height } = svg.viewBox.baseVal;
  const time = span();
  const top = Math.max(...points.map(point => point[1]), 1);
  const place = ([at, value]) =>
    `${(width * (1 - (latest - at) / time)).toFixed(1)},${(height - 1 - (height - 2) * value / top).toFixed(1)}`;
  const line = points.map(place).join('L');
  const [area, stroke] = svg.children;
  stroke.setAttribute('d', points.length > 1 ? `M${line}` : '');
  const x = point => place(point).split(',')[0];
  area.setAttribute('d', points.length > 1 ? `M${x(points[0])},${height}L${line}L${x(points.at(-1))},${height}Z` : '');
  return top;
}

function emptyPlot() {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 150 24');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  for (const name of ['area', 'line']) {
    const path = document.createElementNS(space, 'path');
    path.setAttribute('class', name);
    svg.append(path);
  }
  return svg;
}

// One direction of a port, as a row of the table.
class Direction {
  constructor(name) {
    this.history = new History();
    this.row = make('tr', name);
    this.cells = {};
    this.row.append(make('td', 'direction', name === 'from_pod' ? 'from Pod' : 'to Pod'));
    for (const cell of ['rate number', 'plot', 'rate-packets number', 'packets number', 'bytes number']) {
      this.row.append(this.cells[cell.split(' ')[0]] = make('td', cell));
    }
    this.svg = emptyPlot();
    this.cells.plot.append(this.svg);
    this.problem = null;
  }

  take(tap, at) {
    const counted = at !== null && tap.packets !== null && tap.bytes !== null;
    if (counted) this.history.add(at, tap.packets, tap.bytes);
    const { rate } = this.history;
    this.bits = rate ? rate.bits : 0;
    this.cells.rate.textContent = rate ? bits(rate.bits) : '–';
    this.cells['rate-packets'].textContent = rate ? `${perSecond(rate.packets)} packets/s` : '';
    this.cells.packets.textContent = counted ? number.format(tap.packets) : '–';
    this.cells.bytes.textContent = counted ? bytes(tap.bytes) : '–';
    this.problem = tap.problem;
  }
}

const visible = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const port = entry.target.port;
    port.isVisible = entry.isIntersecting;
    if (port.isVisible) port.draw();
  }
}, { rootMargin: '200px' });

// One port of a Pod, as a group of rows.
class Port {
  constructor(tap) {
    this.name = tap.namespace === null ? tap.pod : `${tap.namespace}/${tap.pod}`;
    this.body = make('tbody');
    this.body.port = this;
    this.detail = make('span', 'detail foreign');
    this.pod = make('td', 'pod foreign');
    this.pod.rowSpan = 2;
    this.pod.append(make('b', '', this.name), this.detail);
    this.problems = make('td', 'problem foreign');
    this.problems.colSpan = 7;
    this.last = make('tr', 'problems');
    this.last.append(this.problems);
    this.directions = {};
    for (const name of ['from_pod', 'to_pod']) {
      this.directions[name] = new Direction(name);
      this.body.append(this.directions[name].row);
    }
    this.directions.from_pod.row.prepend(this.pod);
    this.body.append(this.last);
    visible.observe(this.body);
  }

  take(tap, at) {
    this.directions[tap.direction].take(tap, at);
    this.detail.textContent = tap.ofport === null ? tap.interface : `${tap.interface}, port ${tap.ofport}`;
    const all = Object.entries(this.directions).filter(([, direction]) => direction.problem);
    this.last.hidden = all.length === 0;
    this.problems.textContent =
      all.map(([name, { problem }]) => `${name === 'from_pod' ? 'from Pod' : 'to Pod'}: ${problem}`).join('; ');
  }

  get bits() { return this.directions.from_pod.bits + this.directions.to_pod.bits; }

  draw() {
    for (const { svg, history } of Object.values(this.directions)) plot(svg, history.points);
  }
}

let ports = new Map();
let total = []; // pairs of time and bits a second of all copies
let latest = 0; // the agent's clock at its last answer, s

function list(id, texts) {
  const section = byId(id);
  section.hidden = texts.length === 0;
  section.querySelector('ul').replaceChildren(...texts.map(text => make('li', '', text)));
}

function connections(status) {
  const entry = (name, { endpoint, connected }) => {
    const item = make('li', connected ? 'good' : 'bad', `${name} ${connected ? 'connected' : 'no answer'}`);
    item.prepend(make('span', 'dot'));
    item.title = endpoint;
    return item;
  };
  const all = [['OVSDB', status.ovsdb], ['OpenFlow', status.openflow]];
  if (status.kubernetes) all.push(['Kubernetes', status.kubernetes]);
  byId('connections').replaceChildren(...all.map(([name, connection]) => entry(name, connection)));
}

// What becomes of the Pods that are not mirrored.
function podsDetail(status) {
  const { pods_wanted: wanted, pods_mirrored: mirrored, pods_not_mirrored: others } = status;
  if (wanted === null) return 'nobody has told which there are';
  if (mirrored === null) return `${number.format(wanted)} should be`;
  if (mirrored === wanted) return `${number.format(others)} not`;
  const left = mirrored + others - wanted;
  return `of ${number.format(wanted)} that ${status.paused ? 'will be when somebody listens' : 'should be'}; ${number.format(left)} not asked for`;
}

function tiles(status) {
  const { flows, nic } = status;
  const isKnown = status.pods_mirrored !== null;
  say('pods', isKnown ? `${number.format(status.pods_mirrored)} mirrored` : 'unknown');
  byId('pods').className = isKnown && status.pods_mirrored === status.pods_wanted || status.paused ? '' : 'bad';
  say('pods-detail', podsDetail(status));
  if (flows) {
    say('flows', flows.missing || flows.superfluous ? 'differ' : status.suspended === null ? 'in sync' : 'suspended');
    say('flows-detail', `${flows.desired} desired, ${flows.desired - flows.missing} installed, ` +
      `${flows.missing} missing${flows.superfluous ? `, ${flows.superfluous} too many` : ''}`);
  } else {
    say('flows', 'unknown');
    say('flows-detail', 'not everything is known that they depend on');
  }
  byId('flows').className = flows && !flows.missing && !flows.superfluous && status.suspended === null ? '' : 'bad';
  say('nic', `${nic.name} ${nic.up === null ? 'missing' : nic.up ? 'up' : 'down'}`);
  byId('nic').className = nic.up ? 'foreign' : 'foreign bad';
  say('nic-detail', [
    nic.ofport === null ? `no port of ${status.openflow.name}` : `port ${nic.ofport} of ${status.openflow.name}`,
    ...nic.mtu === null ? [] : [`MTU ${nic.mtu}`],
    ...nic.listeners === null ? [] : [nic.listeners === 1 ? '1 listener' : `${number.format(nic.listeners)} listeners`],
    ...nic.ofport === null ? [] : [nic.made_by_ofmirror ? 'put there by ofmirror' : 'put there by others'],
  ].join(', '));
  connections(status);
  cost(status.overhead);
}

// What mirroring costs, with its error; nothing as long as the agent can't tell.
function cost(overhead) {
  byId('overhead').hidden = overhead === null;
  if (overhead === null) return;
  const percent = ratio => (100 * ratio).toFixed(1);
  const micro = seconds => (1e6 * seconds).toFixed(2);
  say('overhead-ratio', `${overhead.ratio < 0 ? '' : '+'}${percent(overhead.ratio)} %`);
  say('overhead-detail', `± ${percent(overhead.standard_error)} (standard error); ` +
    `${micro(overhead.baseline_seconds_per_packet)} µs without mirroring, ${micro(overhead.mirroring_seconds_per_packet)} with`);
}

function takeTaps(taps, at) {
  const seen = new Set();
  for (const tap of taps) {
    const key = JSON.stringify([tap.namespace, tap.pod, tap.interface]);
    seen.add(key);
    if (!ports.has(key)) ports.set(key, new Port(tap));
    ports.get(key).take(tap, at);
  }
  for (const [key, port] of ports) {
    if (!seen.has(key)) { port.body.remove(); ports.delete(key); }
  }
}

// Ports in their order, as far as they are asked for.
function arrange() {
  const part = byId('filter').value.trim().toLowerCase();
  const byName = (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  const byRate = (a, b) => b.bits - a.bits || byName(a, b);
  const wanted = [...ports.values()].filter(port => port.name.toLowerCase().includes(part));
  wanted.sort(byId('order').value === 'rate' ? byRate : byName);
  const table = document.querySelector('table');
  const shown = [...table.tBodies];
  if (wanted.length !== shown.length || wanted.some((port, place) => port.body !== shown[place])) {
    shown.forEach(body => body.remove());
    table.append(...wanted.map(port => port.body));
  }
  table.hidden = wanted.length === 0;
  byId('none').hidden = wanted.length !== 0;
  say('none', ports.size === 0 ? 'No Pod is mirrored.' : 'No name has this in it.');
}

// The sum of all directions, now and in the last minutes.
function takeTotal(at) {
  const histories = [...ports.values()].flatMap(port => Object.values(port.directions)).map(({ history }) => history);
  const newest = histories.flatMap(history => history.points.slice(-1)).filter(point => point[0] === at);
  if (newest.length && total.at(-1)?.[0] !== at) total.push([at, newest.reduce((sum, point) => sum + point[1], 0)]);
  total = total.filter(point => point[0] >= latest - WINDOW);
  const rates = histories.map(history => history.rate).filter(rate => rate);
  const all = field => rates.reduce((sum, rate) => sum + rate[field], 0);
  say('rate', rates.length ? bits(all('bits')) : '–');
  say('rate-packets', rates.length ? `${perSecond(all('packets'))} packets/s` : '');
}

function draw(status) {
  const now = status.uptime_seconds;
  if (now < latest) {
    // It began anew, and so do its counters.
    ports.forEach(port => port.body.remove());
    ports = new Map();
    total = [];
  }
  latest = now;
  say('node', status.node ?? '');
  document.title = `${status.ready ? '' : '! '}ofmirror ${status.node ?? ''}`;
  const isPaused = status.ready && status.paused;
  const isDegraded = status.degraded.length > 0;
  say('state', !status.ready ? 'not ready' : isPaused ? 'paused: nobody listens' :
    isDegraded ? 'degraded: not all is mirrored that should be' : 'all is mirrored that should be');
  byId('state').className = !status.ready || isDegraded ? 'bad' : isPaused ? 'paused' : 'good';
  list('problems', [...status.problems, ...status.complete ? [] : ['flows are not all installed yet']]);
  list('degraded', status.degraded);
  list('remarks', status.remarks);
  tiles(status);
  takeTaps(status.taps, status.counted_seconds);
  takeTotal(status.counted_seconds);
  arrange();
  for (const port of ports.values()) if (port.isVisible) port.draw();
  const top = plot(byId('plot'), total);
  say('plot-scale', `last ${duration(span())}${total.length > 1 ? `, up to ${bits(top)}` : ''}`);
  say('version', `ofmirror ${status.version}, up ${duration(now)}`);
  byId('main').hidden = false;
  document.body.classList.remove('stale');
}

function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([length]) => seconds >= length);
  if (first < 0) return '0 s';
  const counts = parts.slice(first, first + 2).map(([length, unit], place) =>
    [Math.floor((place ? seconds % parts[first][0] : seconds) / length), unit]);
  return counts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(' ');
}

let answered = null; // when the last answer came, by this machine's clock in ms

function mourn(reason) {
  const silent = answered === null ? '' : ` for ${duration((performance.now() - answered) / 1000)}`;
  say('state', `no answer${silent}: ${reason}`);
  byId('state').className = 'bad';
  document.title = '! ofmirror';
  document.body.classList.add('stale');
}

async function ask() {
  const response = await fetch('status', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

async function look() {
  let status;
  try {
    status = await ask();
  } catch (error) {
    mourn(error.name === 'TypeError' ? 'is the agent running?' : error.message);
    return;
  } finally {
    setTimeout(look, EVERY);
  }
  answered = performance.now();
  draw(status);
}

byId('filter').addEventListener('input', arrange);
byId('order').addEventListener('change', arrange);
look();
