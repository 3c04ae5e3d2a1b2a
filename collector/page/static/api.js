// Questions to the server, and what it tells by itself.

// An answer that is an error: the server's words, and what tells refusals apart.
class Refusal extends Error {
  constructor(status, text) {
    super(text ?? `the answer is ${status}`);
    this.isNotStored = status === 404;
    this.isLocked = status === 401 || status === 403;
  }
}

async function refusalOf(answer) {
  const said = await answer.json().catch(() => ({}));
  return new Refusal(answer.status, said.error);
}

// The JSON of an answer; a `Refusal` is thrown otherwise. `signal` ends the question.
export async function ask(name, parameters = {}, signal = null) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const answer = await fetch(`/api/${name}?${new URLSearchParams(given)}`, { signal });
  if (!answer.ok) throw await refusalOf(answer);
  return answer.json();
}

// Of several questions of a kind the newest counts: what an older one brings is of the past.
export class Newest {
  // The answer, or the one to the question that was asked meanwhile.
  async of(answer) {
    this.asked = answer;
    for (;;) {
      const mine = this.asked;
      await mine.catch(() => {});
      if (mine === this.asked) return mine;
    }
  }
}

const AGAIN_MS = 2000;

// Server-sent events, for as long as the page is open: a connection that was lost is tried again.
export class Events {
  // `lost` is told the refusal, if it was one; `missing`, that the series which was followed is not stored.
  constructor({ status, candle, forming, changed, lost, missing, found }) {
    Object.assign(this, { lost, missing, found });
    this.handlers = { status, candle, forming, changed };
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
      this.isLost = true;
      if (source.readyState === EventSource.CLOSED) this.refused(source);
      else this.lost(null);
    };
  }

  // A browser does not say why events were refused: the same is asked as a page asks.
  async refused(source) {
    const stop = new AbortController();
    const answer = await fetch(source.url, { signal: stop.signal }).catch(() => null);
    const refusal = answer && !answer.ok ? await refusalOf(answer) : null;
    stop.abort();
    if (source !== this.source) return;
    if (refusal?.isNotStored) return void this.missing();
    if (!answer?.ok) this.lost(refusal);
    this.timer = setTimeout(() => this.follow(this.selection), AGAIN_MS);
  }
}
