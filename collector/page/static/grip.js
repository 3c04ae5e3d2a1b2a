// Whether somebody moves a chart by hand.
//
// The library moves a chart from where it was taken hold of, in bars of that time, and lets it glide when a finger leaves it:
// bars that change meanwhile would make it jump.

const GLIDED_MS = 100; // without a move: it glides no more

export class Grip {
  constructor(area) {
    this.held = new Set();
    this.waiting = [];
    this.gliding = null;
    area.addEventListener("pointerdown", (event) => this.take(event), true);
    for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, (event) => this.leave(event), true);
    addEventListener("pointermove", (event) => event.buttons || this.leave(event), true); // let go where nobody told
  }

  take({ pointerId, isPrimary }) {
    if (isPrimary) this.held.clear();
    this.held.add(pointerId);
    clearTimeout(this.gliding);
    this.gliding = null;
  }

  leave({ pointerId, pointerType }) {
    if (!this.held.delete(pointerId) || this.held.size) return;
    if (pointerType === "touch") this.glide();
    else this.loosen();
  }

  // The chart has moved.
  moved() {
    if (this.gliding !== null) this.glide();
  }

  glide() {
    clearTimeout(this.gliding);
    this.gliding = setTimeout(() => {
      this.gliding = null;
      this.loosen();
    }, GLIDED_MS);
  }

  loosen() {
    for (const done of this.waiting.splice(0)) done();
  }

  get isHeld() {
    return this.held.size > 0 || this.gliding !== null;
  }

  // Waits until nobody holds the chart, and it glides no more.
  async loosened() {
    while (this.isHeld) await new Promise((done) => this.waiting.push(done));
  }
}
