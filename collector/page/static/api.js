// Questions to the server, and what it tells by itself.

// The JSON of an answer; an error in the server's words otherwise.
export async function ask(name, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const answer = await fetch(`/api/${name}?${new URLSearchParams(given)}`);
  const said = await answer.json().catch(() => ({ error: `the answer is ${answer.status}` }));
  if (!answer.ok) throw new Error(said.error);
  return said;
}

const AGAIN_MS = 2000;

// Server-sent events, for as long as the page is open: a connection that was lost is tried again.
export class Events {
  constructor({ status, candle, forming, changed, lost, found }) {
    this.handlers = { status, candle, forming, changed };
    this.lost = lost;
    this.found = found;
    this.isLost = false;
  }

  // Asks for the status, and for the candles of a series if one is given.
  follow(selection = {}) {
    this.selection = selection;
    this.source?.close();
    clearTimeout(this.timer);
    const source = (this.source = new EventSource(`/api/events?${new URLSearchParams(selection)}`));
    for (const [name, act] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    }
    source.onopen = () => {
      if (this.isLost) this.found();
      this.isLost = false;
    };
    source.onerror = () => {
      const isRefused = source.readyState === EventSource.CLOSED;
      this.isLost = true;
      this.lost(isRefused);
      if (isRefused) this.timer = setTimeout(() => this.follow(this.selection), AGAIN_MS);
    };
  }
}
