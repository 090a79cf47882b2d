"""``flambeau new-plugin``: writes a package that is a plugin, from the templates in ``templates/``.

``templates/common`` holds what every plugin has, ``templates/KIND`` the rest, as whole files: a folder there is the
package that comes out. ``package.py`` says how names are filled in.
"""
