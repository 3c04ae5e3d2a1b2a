// Elements of the page. Text goes in as text alone: a name with markup in it shows as it is written.

// An element with properties, and with texts or elements in it.
export function element(tag, properties = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside.map((each) => (each instanceof Node ? each : String(each))));
  return made;
}

export const find = (id) => document.getElementById(id);

// Shows a text, and leaves one alone that is there already: a screen reader would say it again.
export function tell(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// The number of a colour, #rrggbb, as the pixels of a canvas have it.
export function pixel(text) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  return new Uint32Array(new Uint8ClampedArray([red, green, blue, 255]).buffer)[0];
}
