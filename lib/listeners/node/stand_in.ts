/**
 * Lets a small class stand in for one of the platform that is expensive to make. The plain path of the node listener
 * uses it.
 */

/**
 * Makes a class pass for a class of the platform: what it does not define itself is done by `real`, which it makes when
 * that is first needed.
 */
export function standInFor<T extends object>(
  standIn: { readonly prototype: { readonly real: T } },
  platform: { readonly prototype: T },
): void {
  const own = standIn.prototype;
  for (const name of Reflect.ownKeys(platform.prototype)) {
    if (Object.hasOwn(own, name)) continue;
    const { value } = Object.getOwnPropertyDescriptor(platform.prototype, name) ?? {};
    const member: PropertyDescriptor & ThisType<{ readonly real: T }> = typeof value === "function"
      ? {
        value(...values: unknown[]) {
          return Reflect.apply(value, this.real, values);
        },
      }
      : {
        get() {
          return Reflect.get(this.real, name);
        },
      };
    Object.defineProperty(own, name, { ...member, configurable: true });
  }
  Object.setPrototypeOf(own, platform.prototype);
}
